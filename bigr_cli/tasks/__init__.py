"""The built-in tasks, one module each: options in, a call on the core, files out.

Every module here is loaded by `bigr --help`, so it imports torch and its like inside functions only.
"""
