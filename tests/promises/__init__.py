"""Each promise of magml broken in the source itself, to see that its test fails."""
