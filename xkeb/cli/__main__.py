from xkeb.cli import main

main()
