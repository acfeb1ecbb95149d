// The load generator of the benchmark: the same work for every server, in a program that leaves the cores to them.
module strongroom.example/load

go 1.26.0
