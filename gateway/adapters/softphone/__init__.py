"""A scripted SIP user agent in pure asyncio and sockets: the caller and the agent of demonstrations and tests."""

from gateway.adapters.softphone.call import Call, CallFailed
from gateway.adapters.softphone.media import Press, ReceivedDigit
from gateway.adapters.softphone.phone import Softphone

__all__ = ["Call", "CallFailed", "Press", "ReceivedDigit", "Softphone"]
