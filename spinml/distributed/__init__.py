"""Ray at the edge (rule 2): plans executed by actors, Ray Data and Ray Train."""
