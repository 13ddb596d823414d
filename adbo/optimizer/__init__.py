"""Ask and tell: from what is known to the next point; functions over arrays.

It does not know ranks, messages, databases, objectives or time.
"""
