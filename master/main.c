#include "master/cli.h"

#include <fcntl.h>

/* If 0, 1 or 2 were closed, the next socket would get that number, and text for standard error
 * would be sent to a stranger. */
static void open_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return;
}

int main(int argc, char **argv)
{
    open_standard_fds();
    return cli_run(argc, argv);
}
