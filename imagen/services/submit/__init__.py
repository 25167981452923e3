"""From a request as typed to accepted rows: settings resolved, inputs read, workers woken."""
