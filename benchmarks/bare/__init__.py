"""The least that does what imagen does, without any of its promises: what figures stand next to."""
