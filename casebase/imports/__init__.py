"""Everything that comes into the library from files, row by row: registers, spreadsheets, scans, other libraries."""
