from bursar.config.cli import main

main()
