#include "master/version.h"

#include <stdio.h>

void version_print(void)
{
    puts("websocket-server " POSTOFFICE_VERSION);
}
