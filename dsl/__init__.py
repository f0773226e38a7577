"""The composition language: from text to a checked plan, and from a plan to tensors."""
