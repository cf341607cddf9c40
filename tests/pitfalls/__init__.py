"""What other uncertainty libraries were seen to get wrong: one test for each, named after it.

Names say whose mistake it was; docstrings say what went wrong there. Each test fails if mcdrop
comes to make the same one.
"""

T, B, C = 40, 7, 5
