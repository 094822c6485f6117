WHO = "zygote beside the script"
