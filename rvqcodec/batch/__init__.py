"""Many files: which there are, what is done with each, which are done already, and the engines that run them."""
