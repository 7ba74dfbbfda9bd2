"""The hub service: one tornado app that assembles the concepts behind one REST API."""
