"""Teams: who shares what. Each hub user has a private one; the others are hub groups."""
