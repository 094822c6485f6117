# run: -c "import sys; print(sys.argv, sys.path[:1], sorted(globals())); sys.exit('bye')" a b
