"""The pretend shop of the game's players: what is sold and paid (`shop`), and what goes wrong with it (`dirt`)."""
