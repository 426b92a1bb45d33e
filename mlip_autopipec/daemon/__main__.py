"""`python -m mlip_autopipec.daemon`, as `autopipecd`."""

from mlip_autopipec.daemon import main

if __name__ == "__main__":
    main()
