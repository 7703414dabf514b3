"""SIP: the media workers (pjsua2, one process each), the pool that keeps them, the front that gives them one address.

`pool` and `protocol` are imported in the control process; `worker` and what it uses only in a worker's, because
only that may load pjsua2.
"""
