"""The command line: words in, words out, each command a few lines over `isogloss.hub`."""
