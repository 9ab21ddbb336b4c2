module lockstep.test/tools

go 1.26.0
