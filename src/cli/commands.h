/* The subcommands: each takes its own argv (argv[0] its name) and returns the program's exit status. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

int command_train(int argc, char **argv);
int command_quantize(int argc, char **argv);
int command_eval(int argc, char **argv);
int command_predict(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_exercise(int argc, char **argv);
int command_mixed(int argc, char **argv);
int command_sweep(int argc, char **argv);
int command_recipe(int argc, char **argv);
int command_ladder(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_audit(int argc, char **argv);
int command_pitfalls(int argc, char **argv);
int command_demo(int argc, char **argv);
int command_export(int argc, char **argv);
int command_page(int argc, char **argv);

#endif
