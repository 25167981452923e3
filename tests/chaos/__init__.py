"""Kills imagen at random, again and again, and counts what is lost: nothing, it is hoped."""
