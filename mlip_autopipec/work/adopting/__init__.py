"""Labels that the user brings.

They are read under the names that people use, and judged before anything rests on them.
"""
