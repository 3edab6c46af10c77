"""GitHub: deliveries in, facts, effects out."""
