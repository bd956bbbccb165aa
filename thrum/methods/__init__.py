"""What thrum offers: one function an operation, declared once. No I/O: what a method needs comes in as its context."""
