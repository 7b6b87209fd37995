// Nothing: the headers that most tests begin with are compiled along with it.
int main() {}
