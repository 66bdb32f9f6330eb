"""The marketplace itself: offers, names, places, money, the catalogue and its snapshot."""
