"""Sessions on hosts: shells that are kept there, one round trip a command.

The shell is spoken to as one of this machine (`transport/dialects`); what it opens by name are FIFOs in a directory of mode 0700 on
the host. Two channels lead there. One has the *keeper*: what is sent to it are the shell's orders, what it prints are the shell's
answers. The other has the *streams*: two relays that read the FIFOs of a command's output. A relay says when nobody has its
FIFO open any more, by a mark of 128 bits that only it knows; so no output can be taken for an end, and none gets into the wrong command. As
long as a child of one command holds its streams, that command keeps the channel, and the next one gets another.
"""
