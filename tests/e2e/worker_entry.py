"""A worker process of the end-to-end tests: what the product's entry does, without its configuration."""

from gateway.adapters.recorder import AgeRecordingWriter
from gateway.adapters.sip.protocol import WorkerConfig
from gateway.adapters.sip.worker import run_worker

if __name__ == "__main__":
    run_worker(WorkerConfig.from_environment(), AgeRecordingWriter)
