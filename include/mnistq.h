/* The version of mnistq. */
#ifndef MNISTQ_H
#define MNISTQ_H

#define MNISTQ_VERSION "0.9.0"

#endif
