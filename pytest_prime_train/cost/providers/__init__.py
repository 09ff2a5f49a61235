"""One module for each source of offers: what it sends becomes :class:`offers.Offer`."""
