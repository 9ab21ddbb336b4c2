"""What every row needs: processes with deadlines, the two sides, figures and their tables."""
