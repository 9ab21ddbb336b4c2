// Stands in for the toolkit's header: libtorch's headers name these types and hold them behind pointers.
#pragma once

typedef struct cusolverDnContext* cusolverDnHandle_t;
