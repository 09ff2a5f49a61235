"""What a completed run costs: offers of hardware, the expected bill, and the cheapest that fits.

The bill in closed form (:mod:`expected`), one neutral model of an offer (:mod:`offers`) with a
parser and a client for each source (:mod:`providers`), and the search that joins both with the
memory estimates (:mod:`find`). Nothing here is imported on the path of a check without a budget.
"""
