import os
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGALRM})
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigpending(), signal.sigwait({signal.SIGUSR1}))
signal.setitimer(signal.ITIMER_REAL, 0.01)
print(signal.sigwaitinfo({signal.SIGALRM}).si_signo == signal.SIGALRM)
