"""Log lines from one machine to another: RFC 5425 (syslog over TLS), both sides with certificates.

Frames are "LENGTH SP LINE". Any RFC 5425 sender with a certificate of our CA can send to the
listener, and our forwarder to any RFC 5425 receiver. RFC 5425 has no acknowledgement, so what lies
in a TCP buffer when a side dies is lost. Between our own two sides there is one, agreed on by the
ALPN name "decnet-ship/1" (a peer that does not know the name speaks plain RFC 5425):

    forwarder  its first frame is "HELLO STREAM NEXT": 32 hex digits that name this sender's
               sequence of lines for ever, and the number of the line that it would send next
    listener   "ACK NEXT" and a line feed: every line below NEXT is on its disk, stored once
    forwarder  skips what the listener has already, and sends line by line; numbers are implicit
    listener   "ACK NEXT" after each write to disk

The forwarder's offset moves with the ACK, so a kill of either side at any instant neither loses
nor doubles a line.
"""

ALPN = "decnet-ship/1"
