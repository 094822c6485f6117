"""Our own deckies: what is wanted, what runs, and the life that is put into them."""
