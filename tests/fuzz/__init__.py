"""Everything of ours that reads a stranger's bytes, one function each: with hypothesis in the suite, with atheris by hand."""
