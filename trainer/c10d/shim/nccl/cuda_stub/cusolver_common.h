// Stands in for the toolkit's header: libtorch's headers name these types and hold them behind pointers.
#pragma once

typedef enum { CUSOLVER_STATUS_SUCCESS = 0 } cusolverStatus_t;
