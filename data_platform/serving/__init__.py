"""What others read: the health page. Not here: how any table is computed or judged."""
