"""How a detector is trained, distilled, adapted, searched for and explained."""
