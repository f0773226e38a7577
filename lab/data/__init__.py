"""The data that vectors are trained and scored on: sources, their fields, records and order."""
