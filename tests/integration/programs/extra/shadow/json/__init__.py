WHO = "json beside the script"
