"""The V-net: cubes of extinction in, cubes of density out; a first guess of the map."""
