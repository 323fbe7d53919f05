"""The use cases of the queue, one transaction each.

``asks`` and ``beacons`` serve machines, ``deadlines`` acts when time passes, ``operator`` serves
people, ``overview`` only reads. ``unit`` is what they share: the transaction with its history.
"""
