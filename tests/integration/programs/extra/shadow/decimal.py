WHO = "decimal beside the script"
