"""The verbs that write. Each is one transaction: lock, decide, write, record the event, queue what follows."""
