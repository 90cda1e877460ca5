/* Stands for the shell of Git for Windows: `sh -c` with words and quotes is all that git's credential helpers need. */
#include <stdio.h>
#include <string.h>
#include <windows.h>

int main(int count, char **arguments)
{
	static char line[32768];
	char *to = line, quote = 0;
	const char *from;
	STARTUPINFOA startup = { sizeof(startup) };
	PROCESS_INFORMATION process;
	DWORD code = 1;

	if (count < 3 || strcmp(arguments[1], "-c") || strlen(arguments[2]) > sizeof(line) / 4)
		return 2;
	for (from = arguments[2]; *from; from++) {
		if (*from == quote || (!quote && strchr("'\"", *from))) {
			quote = quote ? 0 : *from;
			*to++ = '"';
		} else if (!quote && strchr("|&;<>()$`\\*?[#~", *from)) {
			fprintf(stderr, "sh: this shell does not know '%c'\n", *from);
			return 2;
		} else {
			*to++ = *from;
		}
	}
	/* Git may have given no console. */
	startup.dwFlags = STARTF_USESTDHANDLES;
	startup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
	startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
	startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
	if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process)) {
		fprintf(stderr, "sh: cannot run %s\n", line);
		return 127;
	}
	WaitForSingleObject(process.hProcess, INFINITE);
	GetExitCodeProcess(process.hProcess, &code);
	return code;
}
